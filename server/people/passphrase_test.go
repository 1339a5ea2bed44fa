package people_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/server/people"
)

func TestCheckPassphrase(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		passphrase string
		want       error
	}{
		{"umbrella quartz tuesday lantern", nil},
		{"ünïcödé wörds àré fine", nil},
		{"漢字漢語文章電車東京大阪京都神戸", nil},
		{"x7#Kq!9zP$w2Lm&", nil},
		{"fourteen chars", people.ErrShort},
		{"", people.ErrShort},
		{strings.Repeat("word salad ", 24), people.ErrLong},
		{"Correct Horse Battery Staple", people.ErrCommon},
		{"correct-horse-battery-staple1!", people.ErrCommon},
		{"correcthorsebatterystaple2026", people.ErrCommon},
		{"aaaaaaaaaaaaaaaaaaaa", people.ErrCommon},
		{"abcabcabcabcabcabc", people.ErrCommon},
		{"1234567890123456", people.ErrCommon},
		{"qwertyuiopasdfgh", people.ErrCommon},
		{"                    ", people.ErrCommon},
		{"rosalind.t and rosalind.t", people.ErrCommon},
		{"rosalind.t 123456789", people.ErrCommon},
		{"Contraseña contraseña", people.ErrCommon},
	} {
		if err := people.CheckPassphrase(c.passphrase, "rosalind.t"); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.passphrase, err, c.want)
		}
	}
}

func TestParsePHC(t *testing.T) {
	t.Parallel()
	const good = "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if c, err := people.ParsePHC(good); err != nil || c != (people.Cost{MemoryKiB: 65536, Time: 3, Threads: 1}) {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, bad := range []string{
		"", "$", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=65536", "m=4294967295", 1), strings.Replace(good, "t=3", "t=0", 1), strings.Replace(good, "t=3", "t=03", 1),
		strings.Replace(good, "p=1", "p=0", 1), good[:len(good)-4], good + "$", strings.Replace(good, "m=65536", "m=4", 1),
	} {
		if _, err := people.ParsePHC(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
