"""How deep a JSON document goes, told before it is parsed: parsers of JSON recurse."""


def check_depth(document: bytes, most: int) -> None:
    """Raise ValueError for arrays and objects nested deeper than `most`.  What is no JSON passes, for the parser to refuse."""
    depth, quoted, escaped = 0, False, False
    for byte in document:
        if quoted:
            escaped, quoted = byte == 0x5C and not escaped, byte != 0x22 or escaped
        elif byte == 0x22:
            quoted, escaped = True, False
        elif byte in b"[{":
            depth += 1
            if depth > most:
                raise ValueError(f"nested deeper than {most}")
        elif byte in b"]}":
            depth -= 1
