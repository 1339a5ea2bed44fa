package client

import (
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Each kind of damage is found.
func TestVerifyFinds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ damage, want string }{
		"a changed body":           {`UPDATE rec SET body = x'0a0141', base_hash = 1, pending = 0`, "hash it came with"},
		"a changed own body":       {`UPDATE rec SET body = x'0a0141'`, "hash it was saved with"},
		"stamps that are none":     {`UPDATE rec SET stamps = x'ff'`, "cannot be read"},
		"a lost change":            {`DELETE FROM outbox WHERE op = 1`, "own change 1 is missing"},
		"the last change lost":     {`DELETE FROM outbox WHERE op = 2`, "do not end where the device stands"},
		"a changed change":         {`UPDATE outbox_raw SET raw = x'00' WHERE op = 2`, "own change 2 does not have the hash"},
		"a change without bytes":   {`DELETE FROM outbox_raw WHERE op = 1`, "own change 1 has lost its bytes"},
		"pending without a change": {`UPDATE rec SET pending = 0`, "not in the outbox"},
		"a digest":                 {`INSERT INTO scope VALUES (0, x'0102030405060708', 2, 1, 1, NULL, x'00000000000000000000000000000001', 0)`, "do not add up"},
		"a name":                   {`UPDATE name SET words = 'nobody'`, "not found by its names"},
		"a name of nobody":         {`INSERT INTO name (rowid, words) VALUES (999, 'nobody')`, "entries of no record"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := newEnrolled(t)
			create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
			create(t, c, &tandemv1.Person{Descriptor_: new("blue cap")})
			mustVerify(t, c)
			if _, err := c.store.conn.ExecContext(t.Context(), tc.damage); err != nil {
				t.Fatal(err)
			}
			v, err := c.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(v.Faults, "\n"); v.OK() || !strings.Contains(all, tc.want) {
				t.Errorf("got %q, want %q", all, tc.want)
			} else if strings.Contains(all, "blue") {
				t.Errorf("the report holds what was typed: %q", all)
			}
		})
	}
}
