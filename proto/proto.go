// Package proto holds the text of the contract, whose comments say what each field means.
package proto

import (
	"embed"
	"io/fs"
	"regexp"
	"strings"
	"sync"
)

//go:embed tandem/v1/*.proto
var files embed.FS

// Definition returns what the contract says of a field of a message, in English; empty
// where there is no such field.
func Definition(message, field string) string { return definitions()[message+"."+field] }

var (
	messageLine = regexp.MustCompile(`^message (\w+) \{`)
	fieldLine   = regexp.MustCompile(`^  (?:repeated )?[\w.]+ (\w+) = \d+`)
)

// definitions reads the comments: the contract is formatted, and each field of a message
// has its comment right above it, both of which the checks of the contract see to.
var definitions = sync.OnceValue(func() map[string]string {
	found := map[string]string{}
	names, err := fs.Glob(files, "tandem/v1/*.proto")
	if err != nil {
		return found
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return found
		}
		message, comment := "", []string(nil)
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\n")
			if m := messageLine.FindStringSubmatch(line); m != nil {
				message = m[1]
			}
			if words, ok := strings.CutPrefix(line, "  // "); ok {
				comment = append(comment, words)
				continue
			}
			if m := fieldLine.FindStringSubmatch(line); m != nil {
				found[message+"."+m[1]] = strings.Join(comment, " ")
			}
			comment = nil
		}
	}
	return found
})
