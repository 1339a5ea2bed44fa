package app

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

func init() {
	sheets["disclosure"] = []section{{"secDisclosure", []spec{
		{name: "recipient", need: true}, {name: "basis", need: true}, {name: "consent_id", when: "basis=consent"}, {name: "what", need: true}, {name: "note", kind: "area"},
	}}}
}

// mayDisclose reports whether somebody may record what was passed on.
func (v *visit) mayDisclose() bool {
	return slices.Contains(v.me.Roles, "clinician") || slices.Contains(v.me.Roles, "lead")
}

// presetDisclosure is of what a page offers: a warning, or what is about to be printed.
func (v *visit) presetDisclosure() proto.Message {
	m := &tandemv1.Disclosure{}
	if basis := v.r.URL.Query().Get("basis"); basis != "" && v.domain().HasCode("disclosure_basis", basis) {
		m.Basis = &basis
	}
	return m
}

func (v *visit) newDisclosurePage() error {
	q := v.r.URL.Query()
	if _, err := parseID(q.Get("id")); err == nil {
		return v.newFormPage("disclosure", "disclosure", v.presetDisclosure)
	}
	id, err := v.dev.NewID()
	if err != nil {
		return err
	}
	q.Set("id", id.String())
	return v.to("disclosure/new?" + q.Encode())
}

// newDisclosure records what was passed on about a person, now and by who is here. The
// consent that it rests on is the one that was chosen.
func (v *visit) newDisclosure() error {
	var failed error
	err := v.makeForm("disclosure", "disclosure", v.presetDisclosure, func(msg proto.Message) {
		m, ok := msg.(*tandemv1.Disclosure)
		if !ok {
			return
		}
		m.PersonId, m.At, m.By, m.Lifecycle = new(v.r.PostForm.Get("person")), v.tapNow(), new(v.me.Person.String()), new("recorded")
		if id, err := parseID(v.r.PostForm.Get("encounter")); err == nil {
			m.EncounterId = new(id.String())
		}
		if m.GetBasis() != "consent" {
			m.ConsentId = nil
			return
		}
		var fits bool
		if fits, failed = v.restsOn(m); !fits {
			// It was taken back, or ended, since it was chosen.
			m.ConsentId = nil
		}
	})
	return cmp.Or(failed, err)
}

// passesOn reports whether a consent of a type lets something be passed on.
func passesOn(kind string) bool {
	return slices.Contains([]string{"release", "network_sharing", "le_sharing"}, kind) || strings.HasPrefix(kind, "part2_")
}

// mostConsents is how many consents a page offers at first; it offers more where asked to.
const mostConsents = 20

// sharesToday reports whether something of a person may be passed on today by a consent.
func (v *visit) sharesToday(person string, view *client.View) bool {
	m, ok := view.Message.(*tandemv1.Consent)
	return ok && m.GetPersonId() == person && view.Lifecycle == record.Active && m.GetDecision() == "given" && passesOn(m.GetType()) &&
		(m.GetExpiresOn() == "" || m.GetExpiresOn() >= v.now().Format(time.DateOnly))
}

// restsOn reports whether the consent that a disclosure names lets it be passed on today.
func (v *visit) restsOn(m *tandemv1.Disclosure) (bool, error) {
	id, err := parseID(m.GetConsentId())
	if err != nil {
		return false, nil //nolint:nilerr // It names none.
	}
	view, err := v.dev.Get(v.ctx(), id)
	if errors.Is(err, client.ErrNotFound) {
		return false, nil
	}
	return err == nil && v.sharesToday(m.GetPersonId(), view), err
}

// consents are the newest of a person by which something may be passed on today, and how
// many are asked for to see more; 0 where there are no more.
func (v *visit) consents(person string) (out []*client.View, more int, err error) {
	pid, err := parseID(person)
	if err != nil {
		return nil, 0, client.ErrNotFound
	}
	asked, _ := strconv.Atoi(v.r.URL.Query().Get("consents"))
	most := min(max(asked, mostConsents), 500)
	out, err = v.first("consent", client.Filter{Person: pid, Lifecycle: record.Active}, client.Newest, most+1, func(view *client.View) bool { return v.sharesToday(person, view) })
	if len(out) > most {
		out, more = out[:most], 4*most
	}
	return out, more, err
}

// offerConsents makes the consents of a person the choices of a field: which one it rests
// on is said by who passes it on.
func (v *visit) offerConsents(f *web.Field, person string) (more int, err error) {
	views, more, err := v.consents(person)
	if err != nil {
		return 0, err
	}
	// One that was chosen stays, however many are newer.
	if id, err := parseID(f.Value); err == nil && !slices.ContainsFunc(views, func(c *client.View) bool { return c.ID == id }) {
		if view, err := v.dev.Get(v.ctx(), id); err == nil && v.sharesToday(person, view) {
			views = append(views, view)
		}
	}
	f.Kind, f.Options = "chips", nil
	for _, view := range views {
		m, ok := view.Message.(*tandemv1.Consent)
		if !ok {
			continue
		}
		label := v.code("consent_type", m.GetType())
		for _, r := range m.GetRecipients() {
			label = join(label, r.GetName())
		}
		f.Options = append(f.Options, web.Option{Code: view.ID.String(), Label: join(label, m.GetGivenOn()), On: f.Value == view.ID.String()})
	}
	if len(f.Options) == 0 {
		f.Problem = v.t("noConsent")
	}
	return more, nil
}

// part2 is the statement that goes with a record of a substance use program, empty for
// others.
func part2(view *client.View) string {
	if view.Part2() {
		return record.Part2Notice
	}
	return ""
}
