"""LibriSpeech: data, front end and scoring of speech recognition, for several models."""
