package record

import (
	"slices"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// LikelySame is the likeness from which on a form asks whether two persons are one (V27).
const LikelySame = 0.85

// Likeness says how much two persons look like one, from 0 to 1. Names are compared as
// they sound to the eye: without case, accents and order of words, with a slip of the pen
// or two. A name alone makes nobody the same: the date of birth or a phone number must
// agree too.
func Likeness(a, b *tandemv1.Person) float64 {
	name := 0.0
	for _, x := range a.GetNames() {
		for _, y := range b.GetNames() {
			name = max(name, nameLikeness(x, y))
		}
	}
	phone := sharedPhone(a, b)
	switch birth := sameBirth(a.GetDob(), b.GetDob()); {
	case birth == differs && phone:
		return 0.7 * name
	case birth == differs:
		return 0.5 * name
	case birth == agrees || phone:
		return name
	}
	return 0.8 * name
}

// LikenessKeys returns what a person can be found by among many: two persons whose Likeness
// is LikelySame or more share one of their keys at least. Whoever has neither a whole date
// of birth nor a phone number has none.
func LikenessKeys(p *tandemv1.Person) (keys []string) {
	if dob := p.GetDob(); len(dob) >= len(time.DateOnly) {
		keys = append(keys, "born "+dob[:len(time.DateOnly)])
	}
	for _, phone := range p.GetPhones() {
		if n := lastDigits(phone.GetNumber()); n != "" {
			keys = append(keys, "phone "+n)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

const (
	unknown = iota
	agrees
	differs
)

// sameBirth compares two dates of birth as far as both are known; the year alone agrees
// with too many.
func sameBirth(a, b string) int {
	n := min(len(a), len(b))
	switch {
	case n < len("2006"):
		return unknown
	case a[:n] != b[:n]:
		return differs
	case n < len("2006-01-02"):
		return unknown
	}
	return agrees
}

// sharedPhone reports whether two persons share a phone number.
func sharedPhone(a, b *tandemv1.Person) bool {
	numbers := map[string]bool{}
	for _, p := range a.GetPhones() {
		if n := lastDigits(p.GetNumber()); n != "" {
			numbers[n] = true
		}
	}
	for _, p := range b.GetPhones() {
		if numbers[lastDigits(p.GetNumber())] {
			return true
		}
	}
	return false
}

// lastDigits returns the last ten digits of a number, empty where there are fewer.
func lastDigits(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
	if len(s) < 10 {
		return ""
	}
	return s[len(s)-10:]
}

func nameLikeness(a, b *tandemv1.PersonName) float64 {
	ga, fa, gb, fb := plainName(a.GetGiven()), plainName(a.GetFamily()), plainName(b.GetGiven()), plainName(b.GetFamily())
	if ga+fa == "" || gb+fb == "" {
		return 0
	}
	straight := (wordLikeness(ga, gb) + wordLikeness(fa, fb)) / 2
	return max(straight, (wordLikeness(ga, fb)+wordLikeness(fa, gb))/2)
}

func plainName(s string) string {
	s = unaccented.Replace(strings.ToLower(s))
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '-' || r == '\'' || r == '.' }), " ")
}

// wordLikeness is 1 less the share of letters that must be changed, added, taken away or
// swapped.
func wordLikeness(a, b string) float64 {
	x, y := []rune(a), []rune(b)
	longer := max(len(x), len(y))
	if longer == 0 {
		return 1
	}
	before, last := make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row := make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return 1 - float64(last[len(y)])/float64(longer)
}
