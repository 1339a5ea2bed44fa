package client

import (
	"context"
	"strings"
	"unicode"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Search returns records by what people call them: names, descriptors and phone
// numbers of persons, names of staff, teams, agencies and programs, labels of
// devices, the beginning of an incident's own number or CAD number, or an id. Every
// word must fit, by its beginning; accents and case do not matter. At most limit
// records (0: 50), newest first, those found by number last.
func (c *Client) Search(ctx context.Context, text string, limit int) ([]*View, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	found, err := c.search(ctx, text, limit)
	if err != nil || strings.TrimSpace(text) == "" {
		return found, err
	}
	// Neither what was asked for nor what it found stands in the entry, but ids.
	return found, c.noteReads(ctx, tandemv1.AuditAct_AUDIT_ACT_SEARCHED, found...)
}

func (c *Client) search(ctx context.Context, text string, limit int) ([]*View, error) {
	if limit <= 0 {
		limit = 50
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	if id, err := syncengine.ParseID(strings.ToUpper(text)); err == nil {
		return c.views(ctx, false, "rec.id = ?", limit, id[:])
	}
	var found []*View
	if match := matchExpression(text); match != "" {
		var err error
		found, err = c.views(ctx, false, `rec.n IN (SELECT rowid FROM name WHERE name MATCH ?) ORDER BY rec.at DESC, rec.id DESC`, limit, match)
		if err != nil || len(found) >= limit {
			return found, err
		}
	}
	folded := foldText(text)
	numbers, err := c.views(ctx, false, `(rec.number >= ?1 AND rec.number < ?2 OR rec.cad_number >= ?1 AND rec.cad_number < ?2)
		ORDER BY rec.at DESC, rec.id DESC LIMIT +?3`, 0, folded, folded+string(unicode.MaxRune), limit-len(found))
	return append(found, numbers...), err
}

// matchExpression is the FTS5 query for every word of text by its beginning. What
// is typed is never part of the query language.
func matchExpression(text string) string {
	if !strings.ContainsFunc(text, unicode.IsLetter) {
		text = digits(text)
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
	for i, w := range words {
		words[i] = `"` + w + `"*`
	}
	return strings.Join(words, " ")
}
