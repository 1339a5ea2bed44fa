package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// ErrProtocolText says that a protocol is text, and not without end.
var ErrProtocolText = errors.New("a protocol is plain text in UTF-8, of 1 to 20,000 characters: split a longer one into several")

// mostProtocol is the longest protocol, in characters, as the contract has it.
const mostProtocol = 20_000

// Protocol is a document that every device holds and can show with no signal.
type Protocol struct {
	ID syncengine.ID
	*tandemv1.Attachment
}

// ProtocolOptions describe a protocol.
type ProtocolOptions struct {
	// Agency that puts it in force, its Title and the language it is written in, as a
	// BCP 47 tag.
	Agency      syncengine.ID
	Title, Lang string
	Text        string
}

// AddProtocol puts a protocol in force, in place of one of the same agency, title and
// language, which is kept.
func (a *Admin) AddProtocol(ctx context.Context, o ProtocolOptions) (syncengine.ID, error) {
	words := strings.TrimPrefix(strings.ReplaceAll(o.Text, "\r\n", "\n"), "\ufeff")
	if !utf8.ValidString(words) || strings.TrimSpace(words) == "" || utf8.RuneCountInString(words) > mostProtocol || record.CleanText(words) != words {
		return syncengine.ID{}, ErrProtocolText
	}
	all, err := a.Protocols(ctx)
	if err != nil {
		return syncengine.ID{}, err
	}
	sum := sha256.Sum256([]byte(words))
	id, err := a.add(ctx, func(tx *store.Tx, _ syncengine.ID) (proto.Message, error) {
		if _, err := a.find(tx, "agency", o.Agency); err != nil {
			return nil, err
		}
		return &tandemv1.Attachment{
			AgencyId: new(o.Agency.String()), Lifecycle: new(record.Active), Schema: schema(), Category: new("protocol"), MediaType: new("txt"),
			Sha256: sum[:], Size: new(uint32(len(words))), Title: text(o.Title), Lang: text(o.Lang), Text: &words,
		}, nil
	})
	if err != nil {
		return id, err
	}
	for _, p := range all {
		if p.GetLifecycle() == record.Active && p.GetAgencyId() == o.Agency.String() && p.GetTitle() == strings.TrimSpace(o.Title) && p.GetLang() == o.Lang {
			if err := a.RetireProtocol(ctx, p.ID); err != nil {
				return id, err
			}
		}
	}
	return id, nil
}

// Protocols returns the protocols, those that were retired too, in order of title.
func (a *Admin) Protocols(ctx context.Context) (out []Protocol, err error) {
	domain := record.New()
	err = a.store.EachRecord(ctx, a.org.ID, domain.KindByName("attachment").Number, func(rec *syncengine.StoredRecord) error {
		msg, err := domain.Message(&rec.Record)
		if err != nil {
			return err
		}
		if m, ok := msg.(*tandemv1.Attachment); ok && m.GetCategory() == "protocol" {
			out = append(out, Protocol{rec.ID, m})
		}
		return nil
	})
	slices.SortFunc(out, func(x, y Protocol) int {
		if c := strings.Compare(x.GetTitle(), y.GetTitle()); c != 0 {
			return c
		}
		return x.ID.Compare(y.ID)
	})
	return out, err
}

// RetireProtocol takes a protocol out of force: devices list it no more.
func (a *Admin) RetireProtocol(ctx context.Context, id syncengine.ID) error {
	return a.edit(ctx, "attachment", id, tandemv1.Act_ACT_SET, "", func(msg proto.Message) error {
		m, ok := msg.(*tandemv1.Attachment)
		if !ok || m.GetCategory() != "protocol" {
			return &AbsentError{Kind: "protocol"}
		}
		m.Lifecycle = new("superseded")
		return nil
	})
}
