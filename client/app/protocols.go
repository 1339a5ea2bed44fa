package app

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

type protocolsData struct {
	Page      *web.Page
	Documents []documentLine
}

type documentLine struct {
	ID, Title, About, Lang string
}

// protocolsPage lists the protocols that are in force: those in the language of the page
// first. They are reference data, which every device holds, a police partner's too.
func (v *visit) protocolsPage() error {
	views, err := v.dev.List(v.ctx(), "attachment", client.Filter{Lifecycle: record.Active}, client.Oldest, 0)
	if err != nil {
		return err
	}
	d := &protocolsData{Page: v.page(v.t("protocols"))}
	for _, view := range views {
		if m, ok := view.Message.(*tandemv1.Attachment); ok && m.GetCategory() == "protocol" && m.Text != nil {
			d.Documents = append(d.Documents, documentLine{view.ID.String(), m.GetTitle(), m.GetLang(), m.GetLang()})
		}
	}
	mine := func(l documentLine) int {
		if strings.HasPrefix(l.Lang, v.lang) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(d.Documents, func(a, b documentLine) int {
		return cmp.Or(mine(a)-mine(b), strings.Compare(a.Title, b.Title))
	})
	return v.show("protocols", d)
}

type protocolData struct {
	Page     *web.Page
	Lang     string
	At       time.Time
	Blocks   []block
	NotWhole bool
}

// protocolPage shows a protocol that is in force.
func (v *visit) protocolPage() error {
	view, err := v.get("attachment")
	if err != nil {
		return err
	}
	m, ok := view.Message.(*tandemv1.Attachment)
	if !ok || m.GetCategory() != "protocol" {
		return client.ErrNotFound
	}
	if view.Lifecycle != record.Active {
		return v.to("protocols")
	}
	sum := sha256.Sum256([]byte(m.GetText()))
	d := &protocolData{
		Page: v.page(m.GetTitle()), Lang: m.GetLang(), At: v.at(view.Origin.AtMS), Blocks: blocks(m.GetText()),
		NotWhole: !bytes.Equal(sum[:], m.GetSha256()),
	}
	d.Page.Record, d.Page.Hash = view.ID.String(), v.a.typing.remember(view)
	return v.show("protocol", d)
}

// block is a part of a document: h2, h3, ul, ol or p.
type block struct {
	Kind, Text string
	Items      []string
}

// blocks takes plain text apart as people write it: headings after # and ##, points
// after a dash, steps after a number, paragraphs between empty lines.
func blocks(text string) (out []block) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		kind, words := "p", line
		if h, ok := strings.CutPrefix(line, "## "); ok {
			kind, words = "h3", h
		} else if h, ok := strings.CutPrefix(line, "# "); ok {
			kind, words = "h2", h
		} else if item, ok := strings.CutPrefix(line, "- "); ok {
			kind, words = "ul", item
		} else if n, item, ok := strings.Cut(line, ". "); ok && n != "" && strings.Trim(n, "0123456789") == "" {
			kind, words = "ol", item
		}
		last := len(out) - 1
		switch {
		case line == "":
			if last >= 0 && out[last].Kind == "p" {
				out = append(out, block{})
			}
		case kind == "ul" || kind == "ol":
			if last < 0 || out[last].Kind != kind {
				out = append(out, block{Kind: kind})
			}
			out[len(out)-1].Items = append(out[len(out)-1].Items, words)
		case kind == "p" && last >= 0 && out[last].Kind == "p":
			out[last].Text += "\n" + words
		default:
			out = append(out, block{Kind: kind, Text: words})
		}
	}
	return slices.DeleteFunc(out, func(b block) bool { return b.Kind == "" })
}
