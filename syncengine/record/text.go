package record

import (
	"strings"
	"unicode/utf8"
)

// Text reports whether records take a string: UTF-8 without control characters
// other than newline and tab.
func Text(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= utf8.RuneSelf {
			return wideText(s[i:])
		}
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// textBytes is Text of the bytes of a string, which it does not copy where they
// are ASCII.
func textBytes(b []byte) bool {
	for i, c := range b {
		if c >= utf8.RuneSelf {
			return wideText(string(b[i:]))
		}
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// wideText is Text for strings that are not ASCII alone.
func wideText(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if control(r) {
			return false
		}
	}
	return true
}

// control reports whether records refuse a character.
func control(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f
}

// CleanText returns s as records take it: line ends become newlines, other control
// characters go, bytes that are no UTF-8 become U+FFFD.
func CleanText(s string) string {
	if Text(s) {
		return s
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case control(r):
			return -1
		}
		return r
	}, s)
}
