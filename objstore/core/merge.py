"""Which of two registers wins."""
