"""Made-up files in LibriSpeech's original format; see ``workloads.librispeech.sample``."""

from workloads.librispeech.sample import write_originals as write_originals
