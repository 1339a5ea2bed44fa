package store

import (
	"context"
	cryptorand "crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// schemaName is that of the schema which holds the tables: nothing else is in it, and
// nothing that others put elsewhere in the database is taken for it.
const schemaName = "tandem"

// fenceSetting holds the number of the org that a transaction is of: see fence.go.
const fenceSetting = "tandem.org"

// oldestPostgres is the oldest version of PostgreSQL that will do.
const oldestPostgres = 140000

// lockKey is the advisory lock under which tables are made and orgs are added ("Tandem").
const lockKey = 0x54616e64656d

// Times after which PostgreSQL gives up by itself. A statement has none: a commit that
// waits for a standby must not be taken for done.
const (
	// lockPatience is how long a write waits for the writers of other processes.
	lockPatience = 10 * time.Second
	// writePatience ends the transaction of a process that stands still in the middle of
	// it, so that the others can go on.
	writePatience = 30 * time.Second
	readPatience  = 10 * time.Minute
	// connectPatience is how long a connection may take, where the address sets nothing.
	connectPatience = 5 * time.Second
)

// remote is a store's end of a PostgreSQL database.
type remote struct {
	config *pgx.ConnConfig
	// columns are the types of the columns of all tables.
	columns map[string]string
	// primaries knows which of several servers it is.
	primaries *primaries
	*messenger
}

// CheckAddress returns ErrAddress where an address is no PostgreSQL database's; the
// empty one, of a file in the data directory, is right. It connects to nothing.
func CheckAddress(address string) error {
	if address == "" {
		return nil
	}
	_, err := parseDatabase(address)
	return err
}

// parseDatabase reads the address of a PostgreSQL database.
func parseDatabase(address string) (*pgx.ConnConfig, error) {
	if !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://") {
		return nil, ErrAddress
	}
	config, err := pgx.ParseConfig(address)
	if err != nil {
		// Its text quotes the address, which may hold a password.
		return nil, ErrAddress
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectPatience
	}
	if config.ValidateConnect == nil {
		// Of several hosts the one that is primary now; of one, never a standby.
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "tandem"
	}
	config.OnNotice = func(c *pgconn.PgConn, n *pgconn.Notice) {
		// Somebody has ended the wait for the standby: the commit is here and nowhere else.
		if n.Code == "01000" {
			c.CustomData()[alone] = true
		}
	}
	return config, nil
}

// alone marks a connection on which a commit may not have reached the standby.
const alone = "tandem.alone"

// session is what the store relies on in each connection. Every query goes by key
// through an index, whatever statistics say. It is planned each time: a plan that was
// made while the tables were empty reads all of an org once they are full.
func session(write bool) string {
	patience := readPatience
	if write {
		patience = writePatience
	}
	return fmt.Sprintf(`SET search_path = %s; SET plan_cache_mode = force_custom_plan; SET jit = off; SET enable_seqscan = off;
		SET enable_hashjoin = off; SET enable_mergejoin = off; SET lock_timeout = %d; SET idle_in_transaction_session_timeout = %d;
		SET row_security = on; SET client_min_messages = warning`,
		schemaName, lockPatience.Milliseconds(), patience.Milliseconds())
}

// pool returns a pool that keeps no connection by itself: those of the store are
// pinned.
func (r *remote) pool(write bool) *sql.DB {
	db := stdlib.OpenDB(*r.config, stdlib.OptionBeforeConnect(r.primaries.aim), stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.PgConn().Exec(ctx, session(write)).ReadAll()
		return err
	}))
	db.SetMaxIdleConns(0)
	return db
}

// openRemote prepares a PostgreSQL database.
func (s *Store) openRemote(ctx context.Context, o Options) error {
	config, err := parseDatabase(o.Database)
	if err != nil {
		return err
	}
	s.dialect = &postgresDialect
	known := s.mark.read().place()
	if o.Replaced {
		known, s.mark.lower = place{}, true
	}
	s.remote = &remote{config: config, primaries: newPrimaries(config, known, s.moved), messenger: newMessenger(s, config)}
	if err := s.remote.introduce(cryptorand.Reader); err != nil {
		return err
	}
	if len(s.remote.primaries.hosts()) > 1 {
		s.remote.primaries.survey(ctx, surveyFresh)
	}
	unlock, err := s.lockAll(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s.writerDB, s.readerDB = s.remote.pool(true), s.remote.pool(false)
	fresh, err := s.inspectRemote(ctx, o)
	if err != nil {
		return err
	}
	if err := s.mayBegin(fresh, o); err != nil {
		return err
	}
	if fresh {
		if _, err := s.writerDB.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+schemaName); err != nil {
			return fmt.Errorf("making the tables: %w", classify(err))
		}
	}
	if err := migrateFenced(ctx, s.dialect, s.writerDB); err != nil {
		return err
	}
	if s.remote.columns, err = columnTypes(ctx, s.writerDB); err != nil {
		return fmt.Errorf("reading the tables: %w", err)
	}
	link := &link{era: s.Era, lost: s.forget}
	s.writer = &conn{db: s.writerDB, d: s.dialect, ctx: context.WithoutCancel(ctx), stmts: map[string]*sql.Stmt{}, link: link}
	for range readers {
		s.idle <- &conn{db: s.readerDB, d: s.dialect, ctx: context.WithoutCancel(ctx), stmts: map[string]*sql.Stmt{}, link: link}
	}
	return nil
}

// inspectRemote tells, without changing it, whether a database will do, and whether
// there is nothing in it yet.
func (s *Store) inspectRemote(ctx context.Context, o Options) (fresh bool, err error) {
	var version, tables, versions int
	var encoding, fsync, commit string
	var above, rights bool
	err = s.writerDB.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
		current_setting('fsync'), current_setting('synchronous_commit'),
		(SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user),
		has_database_privilege(current_database(), 'CREATE') OR EXISTS (SELECT 1 FROM pg_namespace n WHERE n.nspname = $1 AND pg_has_role(n.nspowner, 'USAGE')),
		(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')),
		(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'goose_db_version')`,
		schemaName).Scan(&version, &encoding, &fsync, &commit, &above, &rights, &tables, &versions)
	if err != nil {
		return false, fmt.Errorf("opening the database: %w", classify(err))
	}
	switch {
	case version < oldestPostgres:
		return false, ErrOldPostgres
	case encoding != "UTF8":
		return false, ErrEncoding
	case above:
		return false, ErrAboveFence
	case (fsync != "on" || commit == "off") && !o.Volatile:
		return false, ErrVolatile
	case tables > 0 && versions == 0:
		return false, ErrOtherApplication
	case tables == 0 && !rights:
		return false, ErrNoRights
	}
	// A crash may have left the migrator's own table and nothing else.
	return tables == versions, nil
}

// lockDatabase keeps other processes from making or changing tables, or adding an org,
// at the same time. Where this one dies the lock is free.
func (r *remote) lockDatabase(ctx context.Context) (unlock func(), err error) {
	c, err := pgx.ConnectConfig(ctx, r.config)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", classify(err))
	}
	end := func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(closing)
	}
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(lockKey)); err != nil {
		end()
		return nil, fmt.Errorf("waiting for another process to finish with the database: %w", classify(err))
	}
	return end, nil
}

// link is what the connections of a store share.
type link struct {
	// era returns the present one; lost begins a new one, unless that has happened since
	// a connection of an earlier one was made.
	era  func() uint64
	lost func(born uint64) uint64
}

// Era counts how often the database may have become another one under the store's
// feet, a standby in place of the primary for instance. What was known of it before has
// to be looked at again. Of a file it is always the same.
func (s *Store) Era() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.era
}

// forget begins a new era: a connection has broken, and behind the next one may be
// another server, whose history has not come as far. What is known of the database is
// dropped, and every other connection is made anew too.
func (s *Store) forget(born uint64) uint64 {
	s.mu.Lock()
	if born != s.era {
		defer s.mu.Unlock()
		return s.era
	}
	s.era++
	era := s.era
	clear(s.numbers)
	s.recent.forget(era)
	if !s.closed {
		// A new epoch begins where a history is not as far as this process has taken it.
		// Where that cannot be seen, the first device that has seen more shows it.
		s.doubt(s.mark.known())
	}
	s.mu.Unlock()
	s.watch.forget()
	return era
}

// pg returns the connection underneath, nil where there is none any more.
func (c *conn) pg() (under *pgconn.PgConn) {
	if c.c == nil {
		return nil
	}
	_ = c.c.Raw(func(driverConn any) error {
		if d, ok := driverConn.(*stdlib.Conn); ok && !d.Conn().IsClosed() {
			under = d.Conn().PgConn()
		}
		return nil
	})
	return under
}

// broken reports whether the connection is of no more use.
func (c *conn) broken() bool { return c.d.remote && c.pg() == nil }

// renew makes the connection anew.
func (c *conn) renew(lost bool) error {
	c.drop()
	c.born = c.link.era()
	if lost {
		c.born = c.link.lost(c.born)
	}
	fresh, err := c.db.Conn(c.ctx)
	if err != nil {
		return fmt.Errorf("connecting to the database: %w", classify(err))
	}
	c.c = fresh
	return nil
}

// drop lets go of the connection.
func (c *conn) drop() {
	if c.c == nil {
		return
	}
	clear(c.stmts)
	// Not back into the pool.
	_ = c.c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.c.Close()
	c.c = nil
}

// scriptOn runs statements that have no arguments on any connection, together.
func scriptOn(ctx context.Context, db *sql.DB, text string) error {
	c, err := db.Conn(ctx)
	if err != nil {
		return classify(err)
	}
	defer c.Close() //nolint:errcheck // What it did is done.
	return c.Raw(func(driverConn any) error {
		d, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return ErrStorage
		}
		_, err := d.Conn().PgConn().Exec(ctx, text).ReadAll()
		return classify(err)
	})
}

// script runs statements that have no arguments and returns the tag of the last.
func (c *conn) script(text string) (tag string, err error) {
	pg := c.pg()
	if pg == nil {
		return "", ErrStorage
	}
	results, err := pg.Exec(c.ctx, text).ReadAll()
	if err != nil {
		return "", classify(err)
	}
	return results[len(results)-1].CommandTag.String(), nil
}

// beginRemote begins a transaction, on a new connection where the one there was has
// broken meanwhile: nothing had begun on it.
func (c *conn) beginRemote(text string) error {
	switch {
	case c.c == nil:
		if err := c.renew(false); err != nil {
			return err
		}
	case c.pg() == nil:
		if err := c.renew(true); err != nil {
			return err
		}
	case c.born != c.link.era():
		if err := c.renew(false); err != nil {
			return err
		}
	}
	_, err := c.script(text)
	if err != nil && c.pg() == nil {
		if err = c.renew(true); err == nil {
			_, err = c.script(text)
		}
	}
	return err
}

// commitRemote commits. It fails where the transaction had failed before, which
// PostgreSQL answers by rolling it back without a word of error, and where a
// synchronous standby may not have the commit.
func (c *conn) commitRemote() error {
	pg := c.pg()
	if pg == nil {
		return ErrStorage
	}
	delete(pg.CustomData(), alone)
	tag, err := c.script("COMMIT")
	if err != nil {
		return err
	}
	if pg.CustomData()[alone] != nil {
		return fmt.Errorf("%w: the commit may not have reached the standby", ErrStorage)
	}
	if tag != "COMMIT" {
		return errRolledBack
	}
	return nil
}

func (c *conn) rollbackRemote() error {
	// One that has failed may be over: then this does nothing but warn.
	_, err := c.script("ROLLBACK")
	return err
}

// errRolledBack: a statement of the transaction had failed, and that was passed over.
var errRolledBack = errors.New("the transaction was rolled back: a statement in it had failed")

// classifyRemote is classify for errors of PostgreSQL and of the way to it.
func classifyRemote(err error) error {
	if errors.Is(err, ErrSuperseded) {
		return fmt.Errorf("%w (%w)", ErrSuperseded, err)
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		_, connecting := errors.AsType[*pgconn.ConnectError](err)
		if connecting || pgconn.Timeout(err) || isBroken(err) {
			return fmt.Errorf("%w (%w)", ErrUnreachable, err)
		}
		return err
	}
	switch e.Code {
	case "28P01", "28000":
		return fmt.Errorf("%w (%w)", ErrSignIn, err)
	case "3D000":
		return fmt.Errorf("%w (%w)", ErrNoSuchDatabase, err)
	case "42501":
		return fmt.Errorf("%w (%w)", ErrNoRights, err)
	case "53100":
		return fmt.Errorf("%w (%w)", ErrDisk, err)
	case "53300":
		return fmt.Errorf("%w (%w)", ErrCrowded, err)
	case "40001", "40P01", "55P03", "25006", "25P02", "25P03", "57014", "58030":
		return fmt.Errorf("%w (%w)", ErrStorage, err)
	case "XX001", "XX002":
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	switch e.Code[:2] {
	case "08", "53", "57":
		return fmt.Errorf("%w (%w)", ErrStorage, err)
	}
	return err
}

// isBroken reports whether an error is of a connection and says nothing of the
// database.
func isBroken(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	// A connection that was cut in the middle of a statement: what that has done is not
	// known, so it was not acknowledged.
	_, network := errors.AsType[net.Error](err)
	_, driven := errors.AsType[interface {
		error
		SafeToRetry() bool
	}](err)
	return network || driven
}
