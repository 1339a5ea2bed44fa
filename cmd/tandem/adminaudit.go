package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine/audit"
)

type adminAuditCmd struct {
	List       adminAuditListCmd       `cmd:"" help:"List who did what."`
	Export     adminAuditExportCmd     `cmd:"" help:"Write the whole log to a file that anybody can check."`
	Checkpoint adminAuditCheckpointCmd `cmd:"" help:"Print the newest signed checkpoint, to be kept elsewhere."`
}

func (adminAuditCmd) Help() string {
	return `The log of who did what: each push, page, lookup, decision, refusal and act of an operator
is an entry, written with the act itself. It holds ids and codes, and no field of a record.
That it was read is an entry too.

  tandem admin audit list --limit 50
  tandem admin audit export --to audit.jsonl
  tandem verify audit --file audit.jsonl`
}

type adminAuditListCmd struct {
	dataFlag
	Limit   int64  `default:"200" help:"How many entries, the newest; 0 for all."`
	Person  string `placeholder:"ID" help:"Only what this member of staff did."`
	Subject string `placeholder:"ID" help:"Only what is about this record, change or device."`
	Act     string `help:"Only this act, for example LOOKED_UP."`
	JSON    bool   `help:"Print JSON, one line each."`
}

func (adminAuditListCmd) Help() string {
	return `Ids stand for records and people; "tandem admin list" names the people. Of what is asked
for among many, the newest entries are looked at, as many as --limit says.

  tandem admin audit list
  tandem admin audit list --limit 0 --person STAFF --act LOOKED_UP --json`
}

func (c *adminAuditListCmd) Run(a *app) error {
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		return ad.AuditLog(a.ctx, func(l *store.AuditLog) error {
			from := int64(0)
			if c.Limit > 0 {
				from = max(l.Size-c.Limit, 0)
			}
			return l.Each(from, func(n int64, raw []byte) error {
				line, err := audit.NewLine(n, raw)
				if err != nil || !c.wanted(line) {
					return err
				}
				if c.JSON {
					line.Entry = nil
					return a.json(line)
				}
				a.say("%s", sayAudit(line))
				return nil
			})
		})
	})
}

// wanted reports whether an entry is asked for.
func (c *adminAuditListCmd) wanted(l *audit.Line) bool {
	inner := l
	if l.Device != nil {
		inner = l.Device
	}
	about := inner.Subject == c.Subject || strings.Contains(strings.Join(inner.Records, " "), c.Subject)
	return (c.Person == "" || inner.Person == c.Person) && (c.Subject == "" || about) && (c.Act == "" || strings.EqualFold(inner.Act, c.Act))
}

// sayAudit is an entry as a line.
func sayAudit(l *audit.Line) string {
	n, where := l.N, ""
	if l.Device != nil {
		l, where = l.Device, "  on a device"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%6d  %s  %-18s", n, time.UnixMilli(l.At).UTC().Format("2006-01-02 15:04:05"), l.Act)
	for _, part := range []struct{ name, value string }{{"by", l.Person}, {"with", l.Replica}, {"about", l.Subject}, {"ops", l.Ops}, {"code", l.Code}} {
		if part.value != "" {
			text.WriteString("  " + part.name + " " + part.value)
		}
	}
	if l.Count > 0 {
		fmt.Fprintf(&text, "  %d", l.Count)
	}
	for _, r := range l.Refused {
		fmt.Fprintf(&text, "  op %d %s", r.Op, strings.TrimPrefix(r.Refusal, "REFUSAL_"))
	}
	return text.String() + where
}

type adminAuditExportCmd struct {
	dataFlag
	To   string `placeholder:"FILE" help:"New file to write; standard output unless given."`
	JSON bool   `help:"With --to: print one line of JSON that names the file. The export itself is JSON always."`
}

func (adminAuditExportCmd) Help() string {
	return `Lines of JSON: a header with the organization's key and the signed checkpoints, then every
entry, in words and in the bytes that its hash is over.

  tandem admin audit export --to audit.jsonl`
}

func (c *adminAuditExportCmd) Run(a *app) error {
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		if c.To == "" {
			return ad.ExportAudit(a.ctx, a.out)
		}
		f, err := os.OpenFile(c.To, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, os.ErrExist) {
			return exits(exitBadInput, errors.New("--to: there is a file of that name already: name another one"))
		}
		if err != nil {
			return fmt.Errorf("--to: %w", err)
		}
		err = ad.ExportAudit(a.ctx, f)
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			// Half a log is none, and stands in the way of the next try.
			return errors.Join(err, os.Remove(c.To))
		}
		if !c.JSON {
			return nil
		}
		return a.json(map[string]any{"file": c.To})
	})
}

type adminAuditCheckpointCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON that holds the note."`
}

func (adminAuditCheckpointCmd) Help() string {
	return `A signed note of how long the log is and of the root of its tree. Whoever keeps one can
show later that no entry before it was altered: see tandem verify audit --checkpoint.

  tandem admin audit checkpoint > checkpoint-2026-11.txt`
}

func (c *adminAuditCheckpointCmd) Run(a *app) error {
	return c.admin(a, func(ad *server.Admin, _ *store.Store, org *store.Org) error {
		return ad.AuditLog(a.ctx, func(l *store.AuditLog) error {
			if len(l.Checkpoints) == 0 {
				return errors.New("the audit log has no checkpoint yet")
			}
			note := l.Checkpoints[len(l.Checkpoints)-1].Note(org.Keys()...)
			if c.JSON {
				return a.json(map[string]any{"checkpoint": note})
			}
			_, err := io.WriteString(a.out, note)
			return err
		})
	})
}
