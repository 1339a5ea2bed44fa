package people

import (
	"bytes"
	"errors"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// SettledFor is how long ago an account was made, and the asker last had to do with it,
// before its word on what the asker asks for counts: long enough that somebody notices.
const SettledFor = 7 * 24 * time.Hour

// errTouched ends the reading of the audit log.
var errTouched = errors.New("the asker had to do with the account")

// Settled reports whether the word of a second person counts: not that of an account that
// is young, or whose sign-in code, devices or staff record the asker has set lately, since it
// might be the asker's own.
func Settled(view store.DeskView, asker, second syncengine.ID, now time.Time) (bool, error) {
	since := now.Add(-SettledFor).UnixMilli()
	account, err := view.Account(second)
	if err != nil || account != nil && account.CreatedMS > since {
		return false, err
	}
	const portion = 4096
	to, err := view.AuditSize()
	for past := false; err == nil && to > 0 && !past; to -= portion {
		from := max(to-portion, 0)
		err = view.EachAudit(from, int(to-from), func(_ int64, raw []byte) error {
			entry := &tandemv1.AuditEntry{}
			if err := proto.Unmarshal(raw, entry); err != nil {
				return err
			}
			if entry.GetAtMs() < since {
				past = true
			} else if entry.GetAct() == tandemv1.AuditAct_AUDIT_ACT_CHANGED && bytes.Equal(entry.GetPerson(), asker[:]) && bytes.Equal(entry.GetSubject(), second[:]) {
				return errTouched
			}
			return nil
		})
	}
	if errors.Is(err, errTouched) {
		return false, nil
	}
	return err == nil, err
}
