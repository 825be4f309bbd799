"""Speech recognition with a Conformer on LibriSpeech."""
