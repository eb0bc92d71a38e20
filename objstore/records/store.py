"""Records: get, put-if, list, lease."""
