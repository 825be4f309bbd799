"""Speech recognition with convolutions and LSTMs on LibriSpeech."""
