from objstore.core.rows import INLINE_LIMIT_BYTES
from objstore.node.engine.blob_format import MIN_BLOCK_BYTES
from objstore.node.engine.settings import EngineSettings


def test_the_defaults_fit_together() -> None:
    settings = EngineSettings()
    assert settings.pack_size_bytes >= 64 * INLINE_LIMIT_BYTES
    assert settings.batch_bytes < settings.pack_size_bytes
    assert settings.read_bytes % settings.block_size_bytes == 0
    assert settings.block_size_bytes >= MIN_BLOCK_BYTES
    assert settings.stage_waiting_bytes > settings.stage_bytes
    assert 0 < settings.compact_dead_ratio < 1
