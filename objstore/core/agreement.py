"""The register's rules: replica's and proposer's side."""
