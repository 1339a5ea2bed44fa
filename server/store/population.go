package store

import (
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// Population is a table of how many people live where an agency works.
type Population struct {
	Agency syncengine.ID
	// By has loaded it at LoadedMS.
	By       syncengine.ID
	LoadedMS int64
	// Body is CSV, empty for none.
	Body []byte
}

// SavePopulation stores the table of an agency, as of now, instead of the one there was.
func (tx *Tx) SavePopulation(p *Population) (err error) {
	if p.LoadedMS, err = tx.NowMS(); err != nil {
		return err
	}
	tx.writes++
	if err := tx.c.exec("DELETE FROM population WHERE org = $1 AND agency = $2", tx.org.num, p.Agency[:]); err != nil || len(p.Body) == 0 {
		return err
	}
	return tx.c.exec("INSERT INTO population (org, agency, by_staff, loaded_ms, body) VALUES ($1, $2, $3, $4, $5)",
		tx.org.num, p.Agency[:], optional(p.By), p.LoadedMS, p.Body)
}

// Population returns the table of an agency; nil where there is none.
func (v *view) Population(agency syncengine.ID) (found *Population, err error) {
	err = v.c.each("SELECT by_staff, loaded_ms, body FROM population WHERE org = $1 AND agency = $2", []any{v.org.num, agency[:]}, func(rows *sql.Rows) error {
		found = &Population{Agency: agency}
		var by []byte
		err := rows.Scan(&by, &found.LoadedMS, &found.Body)
		found.By, _ = syncengine.IDFromBytes(by)
		return err
	})
	return found, err
}
