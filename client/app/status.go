package app

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/web"
)

// status answers the script that follows the status. It is nobody's use of the device.
func (v *visit) status() error {
	if v.dev == nil || v.dev.Locked() {
		return v.json(http.StatusOK, map[string]any{"locked": true})
	}
	line := v.line(v.ctx())
	var b bytes.Buffer
	if err := v.a.pages[v.lang].ExecuteTemplate(&b, "status", line); err != nil {
		return err
	}
	q := v.r.URL.Query()
	return v.json(http.StatusOK, map[string]any{
		"html": b.String(), "theme": v.a.prefs.shown(v.now()), "changed": v.changed(q.Get("record"), q.Get("hash")),
	})
}

func (v *visit) touch() error {
	if v.dev != nil {
		v.dev.Touch()
	}
	v.w.WriteHeader(http.StatusNoContent)
	return nil
}

// line says how far the words are. Every word of it is a fact of the store.
func (v *visit) line(ctx context.Context) web.Status {
	st, err := v.stands(ctx)
	if err != nil {
		return web.Status{State: "needs", Word: v.t("stUnknown")}
	}
	var more []string
	s := web.Status{}
	switch {
	case st.NotAccepted+st.Conflicts+st.Damaged+int(min(st.Lost, 1)) > 0 || st.Unconfirmed || st.Suspended:
		s.State, s.Word = "needs", v.t("stNeeds")
		if st.Queued > 0 {
			more = append(more, fmt.Sprintf(v.t("stUnsent"), st.Queued))
		}
	case st.Queued > 0:
		s.State, s.Word = "here", v.t("stHere")
		more = append(more, v.estimate(ctx, st.Queued))
	case v.a.typing.some():
		// What is typed and no save yet is here and nowhere else.
		s.State, s.Word = "here", v.t("stHere")
		more = append(more, v.t("stTyped"))
	case st.VerifiedMS > 0 && st.Applied == 0:
		s.State, s.Word = "verified", v.t("stVerified")
		more = append(more, v.at(st.VerifiedMS).Format("15:04"))
	case st.LastContactMS > 0:
		s.State, s.Word = "sent", v.t("stSent")
	default:
		s.State, s.Word = "here", v.t("stNoContact")
	}
	switch {
	case st.Suspended:
		more = append(more, v.t("stSuspended"))
	case st.LastFault != "":
		more = append(more, v.t("stNoSignal"))
	}
	s.More = strings.Join(more, " · ")
	return s
}

// stands is how the device stood when this request first asked.
func (v *visit) stands(ctx context.Context) (*client.Status, error) {
	if v.st == nil {
		st, err := v.dev.Status(ctx)
		if err != nil {
			return nil, err
		}
		v.st = st
	}
	return v.st, nil
}

// needsYou counts what a person has to decide.
func (v *visit) needsYou() int {
	if v.dev == nil || v.dev.Locked() {
		return 0
	}
	st, err := v.stands(v.ctx())
	if err != nil {
		return 0
	}
	n := st.Conflicts + st.NotAccepted + st.Damaged + v.stale()
	if st.Suspended {
		n++
	}
	return n
}

// estimate says what waits and about how long it takes: "1 urgent referral, about 4 s".
func (v *visit) estimate(ctx context.Context, queued int) string {
	e, err := v.dev.Estimate(ctx)
	if err != nil || len(e) == 0 {
		return fmt.Sprintf(v.t("stUnsent"), queued)
	}
	var parts []string
	for i, w := range e {
		parts = append(parts, v.waiting(&w, i > 0))
	}
	return strings.Join(parts, "; ")
}

func (v *visit) waiting(w *client.Waiting, others bool) string {
	var text string
	switch {
	case w.Class == tandemv1.Class_CLASS_URGENT && w.Saves == 1:
		for kind := range w.Kinds {
			text = fmt.Sprintf(v.t("estUrgentOne"), strings.ToLower(v.domain().KindLabel(kind, v.lang)))
		}
	case w.Class == tandemv1.Class_CLASS_URGENT:
		text = fmt.Sprintf(v.t("estUrgent"), w.Saves)
	case others:
		text = fmt.Sprintf(v.t("estOthers"), w.Saves)
	default:
		text = fmt.Sprintf(v.t("stUnsent"), w.Saves)
	}
	if w.Takes > 0 {
		text += ", " + fmt.Sprintf(v.t("estAbout"), lasting(w.Takes))
	}
	return text
}

// lasting is a span in words that both languages share.
func lasting(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", max(int64((d+time.Second/2)/time.Second), 1))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", (d+time.Minute/2)/time.Minute)
	}
	return fmt.Sprintf("%d h", (d+time.Hour/2)/time.Hour)
}

// where says how far one record is.
func (v *visit) where(view *client.View) web.Status {
	switch {
	case len(view.Conflicts)+len(view.NotAccepted) > 0:
		return web.Status{State: "needs", Word: v.t("stNeeds")}
	case view.Pending > 0 || !view.AtServer:
		return web.Status{State: "here", Word: v.t("recHere")}
	}
	return web.Status{State: "sent", Word: v.t("recSent")}
}
