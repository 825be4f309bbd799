"""Translation from German to English: WMT 17's training text, newstest 2013 and 2014."""
