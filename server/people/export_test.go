package people

import "time"

// Worked lets a test hear of each hash that is computed.
func (p *People) Worked(f func(Cost)) { p.hasher.worked = f }

// TOTPCode is the code of a secret at a time.
func TOTPCode(secret []byte, at time.Time) (string, error) {
	return totpCode(secret, at.Unix()/totpPeriod)
}

// Words are what the pages say; Langs in which languages; PageText is their templates.
var (
	Words = words
	Langs = langs
)

// PageText returns the templates as they are written.
func PageText() (string, error) {
	b, err := files.ReadFile("pages.html")
	return string(b), err
}

// ParsePHC reads a stored passphrase.
func ParsePHC(s string) (Cost, error) {
	c, _, _, err := parsePHC(s)
	return c, err
}

// SessionCookie is the name of the cookie that holds a session.
const SessionCookie = sessionCookie
