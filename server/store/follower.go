package store

import (
	"database/sql"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// followRow is a row to be added to the table of followers.
type followRow struct{ follower, team syncengine.ID }

// prefetchTeams reads the teams of records at once.
func (tx *Tx) prefetchTeams(followers []syncengine.ID) error {
	some, err := tx.hasRows(tableFollower)
	if err != nil || !some {
		return err
	}
	wanted := make([]syncengine.ID, 0, len(followers))
	for _, id := range followers {
		if _, known := tx.teams[id]; !known {
			wanted = append(wanted, id)
		}
	}
	near, err := tx.near("SELECT 1 FROM follower WHERE org = $1 AND record BETWEEN $2 AND $3 LIMIT 1", wanted)
	if err != nil {
		return err
	}
	for _, id := range wanted {
		tx.teams[id] = nil
	}
	keys := make([]any, len(near))
	for i := range near {
		keys[i] = near[i][:]
	}
	err = tx.c.eachIn(tx.s.dialect, "SELECT record, team FROM follower WHERE org = $1 AND record IN", []any{tx.org.num}, keys, "",
		func(rows *sql.Rows) error {
			var row followRow
			if err := rows.Scan((*scanID)(&row.follower), (*scanID)(&row.team)); err != nil {
				return err
			}
			// A list that is shorter than its statement repeats its last key.
			if !slices.Contains(tx.teams[row.follower], row.team) {
				tx.teams[row.follower] = append(tx.teams[row.follower], row.team)
			}
			return nil
		})
	for _, id := range wanted {
		if err != nil {
			delete(tx.teams, id)
			continue
		}
		slices.SortFunc(tx.teams[id], syncengine.ID.Compare)
	}
	return err
}

// Teams implements syncengine.ServerTx.
func (tx *Tx) Teams(follower syncengine.ID) ([]syncengine.ID, error) {
	if _, known := tx.teams[follower]; !known {
		if err := tx.prefetchTeams([]syncengine.ID{follower}); err != nil {
			return nil, err
		}
	}
	return tx.teams[follower], nil
}

// Follow implements syncengine.ServerTx.
func (tx *Tx) Follow(follower, team syncengine.ID) error {
	teams, err := tx.Teams(follower)
	if err != nil || slices.Contains(teams, team) {
		return err
	}
	teams = append(slices.Clone(teams), team)
	slices.SortFunc(teams, syncengine.ID.Compare)
	tx.writes++
	tx.teams[follower] = teams
	tx.newFollows = append(tx.newFollows, followRow{follower, team})
	return nil
}

func (tx *Tx) flushFollows() error {
	if len(tx.newFollows) == 0 {
		return nil
	}
	const width = 3
	args := make([]any, 0, width*len(tx.newFollows))
	for _, row := range tx.newFollows {
		args = append(args, tx.org.num, row.team[:], row.follower[:])
	}
	tx.newFollows = nil
	tx.fill(tableFollower)
	return tx.insert("follower (org, team, record)", "", 2, width, args)
}
