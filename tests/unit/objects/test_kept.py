from objstore.objects.kept import Kept


def test_what_is_kept_is_bounded_by_number_and_by_bytes() -> None:
    kept: Kept[bytes, int] = Kept(3, 100)
    for number in range(1000):
        key = b"%d" % number
        assert kept.get(key) is None
        kept.put(key, number, 10)
        assert kept.get(key) == number
        assert len(kept) <= 3
    large: Kept[int, int] = Kept(1000, 100)
    for number in range(1000):
        large.put(number, number, 60)
        assert len(large) == 1
