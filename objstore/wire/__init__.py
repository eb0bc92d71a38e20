"""Node RPC: messages, frames, and the channel that carries them."""
