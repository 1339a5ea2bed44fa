package bulk

import (
	"errors"
	"strings"

	"filippo.io/age"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/syncengine"
)

// ErrKey says that a recipient's key is none. What was given is not repeated: it may be a
// secret key that was given by mistake.
var ErrKey = errors.New("that is no public key of age: it begins with age1")

// Request is what is asked for.
type Request struct {
	// Format, Kinds, Types, Notes, Drafts, Void, Labels and BOM are those of export.Options.
	Format string   `json:"format"`
	Kinds  []string `json:"kinds,omitempty"`
	Types  []string `json:"types,omitempty"`
	Notes  bool     `json:"notes,omitempty"`
	Drafts bool     `json:"drafts,omitempty"`
	Void   bool     `json:"void,omitempty"`
	Labels string   `json:"labels,omitempty"`
	BOM    bool     `json:"bom,omitempty"`
	// Machine leaves text as it is, for a program that reads it.
	Machine bool `json:"machine,omitempty"`
	// Program whose records alone are meant, empty for all.
	Program string `json:"program,omitempty"`
	// From and Until are days, Since is a sequence: those of export.Options.
	From  string `json:"from,omitempty"`
	Until string `json:"until,omitempty"`
	Since uint64 `json:"since,omitempty"`
	// SinceMS takes what has changed since a time of the server's; some of what had
	// changed shortly before it may be there again.
	SinceMS int64 `json:"since_ms,omitempty"`
	// Purpose, Recipient and Basis are noted in the accounting of disclosures.
	Purpose   string `json:"purpose"`
	Recipient string `json:"recipient"`
	Basis     string `json:"basis"`
	// Set of fields and the Agreement of a limited one are those of export.Options.
	Set       string `json:"set,omitempty"`
	Agreement string `json:"agreement,omitempty"`
	// ToAge are public keys of age whose holders alone open the files; none: the files are
	// fetched in the clear.
	ToAge []string `json:"to_age,omitempty"`
	// Approver is the second person, where there was one.
	Approver string `json:"approver,omitempty"`
	// ApprovedPeople is how many people it named when the second person was asked.
	ApprovedPeople int `json:"approved_people,omitempty"`
	// URL and Manifest are of a request by HTTP: what was asked, and how the manifest is
	// to be.
	URL      string `json:"url,omitempty"`
	Manifest string `json:"manifest,omitempty"`
}

// note is what the accounting of disclosures keeps.
func (r *Request) note(id, person syncengine.ID) *server.ExportNote {
	return &server.ExportNote{ID: id, By: person, Recipient: r.Recipient, Purpose: r.Purpose, Basis: r.Basis, What: []string{"other"}, Form: r.form()}
}

// form is that of the files and the set of fields, as the audit log has it.
func (r *Request) form() string {
	if r.Set == "" || r.Set == export.Full {
		return r.Format
	}
	return r.Format + " " + r.Set
}

func (r *Request) options(id, person syncengine.ID) (export.Options, error) {
	o := export.Options{
		ID: id, Person: person, Purpose: r.Purpose, Recipient: r.Recipient, Basis: r.Basis, Format: r.Format, Kinds: r.Kinds, Types: r.Types,
		Notes: r.Notes, Drafts: r.Drafts, Void: r.Void, Labels: r.Labels, BOM: r.BOM, ExcelSafe: !r.Machine,
		Set: r.Set, Agreement: r.Agreement, From: r.From, Until: r.Until, Since: r.Since,
	}
	var err error
	if _, err = r.recipients(); err != nil {
		return o, err
	}
	if r.Approver != "" {
		if o.Approver, err = syncengine.ParseID(r.Approver); err != nil {
			return o, export.ErrApprover
		}
	}
	if r.Program == "" {
		return o, nil
	}
	if o.Program, err = syncengine.ParseID(r.Program); err != nil || o.Program.IsZero() {
		return o, export.ErrProgram
	}
	return o, nil
}

// recipients are those who alone open the files.
func (r *Request) recipients() (all []age.Recipient, err error) {
	for _, key := range r.ToAge {
		of, err := age.ParseRecipients(strings.NewReader(key))
		if err != nil || len(of) != 1 {
			return nil, ErrKey
		}
		all = append(all, of...)
	}
	return all, nil
}

// FileName is the name under which a file of the manifest is fetched.
func (r *Request) FileName(name string) string {
	if len(r.ToAge) > 0 {
		return name + ".age"
	}
	return name
}
