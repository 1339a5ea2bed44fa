// Package jobs does what takes longer than a request, or what is due at a time, once:
// whichever of the servers on a database comes first does it.
//
// A job is a row (store.Job). It is put there in the same transaction as what caused it
// ([Worker.New], Tx.AddJob), or once in each span of time ([Worker.Every]). A [Worker] takes it up for a while ([Options.Lease]), goes on
// saying that it is at it, and ends it. A server that is killed says nothing more: when its
// time is over another one takes the job up, as a new attempt. Whoever has lost a job, by a
// pause that was too long, finds out at its next word and is cancelled; it cannot end the
// job, since an attempt ends its own alone.
//
// So a job is done at least once, and its [Handler] must be able to begin anew: what it
// leaves half done must not matter, and what it has done must not be done again. What it
// writes to the database belongs into [Run.Finish], which ends the job in the same
// transaction: that is done exactly once.
//
// All of that is judged by the database's clock: two servers whose own clocks differ do not
// take a job from each other.
//
// An attempt that fails is made again later, [Attempts] times; a [Permanent] error is the
// last one. Ended jobs stay, for whoever asks, until they are dropped.
package jobs
