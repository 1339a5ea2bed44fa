// Command litestream copies a SQLite database to a directory as it is written, and puts the
// copy back: Litestream as a library, with its replicas of files alone, as the command of
// that name would do it. A test of the server runs it.
//
//	litestream replicate DATABASE DIR
//	litestream restore DIR DATABASE
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/benbjohnson/litestream/file"
	_ "modernc.org/sqlite"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "litestream:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) == 3 && args[0] == "replicate" {
		return replicate(ctx, args[1], args[2])
	}
	if len(args) == 3 && args[0] == "restore" {
		db := litestream.NewDB(args[2])
		o := litestream.NewRestoreOptions()
		o.OutputPath = args[2]
		return litestream.NewReplicaWithClient(db, file.NewReplicaClient(args[1])).Restore(ctx, o)
	}
	return errors.New("want replicate DATABASE DIR or restore DIR DATABASE")
}

// replicate copies until it is told to end.
func replicate(ctx context.Context, path, dir string) error {
	db := litestream.NewDB(path)
	client := file.NewReplicaClient(dir)
	db.Replica = litestream.NewReplicaWithClient(db, client)
	client.Replica = db.Replica
	store := litestream.NewStore([]*litestream.DB{db}, litestream.CompactionLevels{{Level: 0}, {Level: 1, Interval: 10 * time.Second}})
	if err := store.Open(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return store.Close(context.WithoutCancel(ctx))
}
