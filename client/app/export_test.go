package app

// In returns a text of the pages in a language.
func In(lang, key string) string { return allWords.In(lang, key) }
