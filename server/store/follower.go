package store

import (
	"database/sql"
	"maps"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// followRow is a row of the table of followers.
type followRow struct{ follower, team syncengine.ID }

// prefetchTeams reads the teams of records at once.
func (tx *Tx) prefetchTeams(followers []syncengine.ID) error {
	wanted, added := make([]syncengine.ID, 0, len(followers)), false
	for _, id := range followers {
		if _, known := tx.teams[id]; !known {
			wanted = append(wanted, id)
			added = added || tx.newFollows[id] != nil
		}
	}
	if added {
		// A team was added to those in the table without a look at them.
		if err := tx.flushFollows(); err != nil {
			return err
		}
	}
	some, err := tx.hasRows(tableFollower)
	if err != nil || !some {
		return err
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
	teams, known := tx.teams[follower]
	if slices.Contains(teams, team) || slices.Contains(tx.newFollows[follower], team) {
		return nil
	}
	if known {
		teams = append(slices.Clone(teams), team)
		slices.SortFunc(teams, syncengine.ID.Compare)
		tx.teams[follower] = teams
	}
	tx.writes++
	tx.newFollows[follower] = append(tx.newFollows[follower], team)
	return nil
}

// flushFollows writes new followers, in the order of the table.
func (tx *Tx) flushFollows() error {
	if len(tx.newFollows) == 0 {
		return nil
	}
	followers := slices.SortedFunc(maps.Keys(tx.newFollows), syncengine.ID.Compare)
	const width = 3
	args := make([]any, 0, width*len(followers))
	for i := range followers {
		teams := tx.newFollows[followers[i]]
		for k := range teams {
			args = append(args, tx.org.num, teams[k][:], followers[i][:])
		}
	}
	clear(tx.newFollows)
	tx.fill(tableFollower)
	return tx.insert("follower (org, team, record)", doNothing, 2, width, args)
}
