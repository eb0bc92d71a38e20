"""What makes the networks of a host as they are wanted, and plugs guests into them."""
