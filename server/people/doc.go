// Package people is the sign-in of people at the server, with a browser: accounts,
// passphrases, second factors, sessions. Devices have nothing to do with it; they prove
// themselves by their keys (package auth).
//
// # Accounts
//
// An account belongs to one staff record, and there is one for each person at most. It is
// made by an operator ([Accounts]), who is given a one-time code for the person; with it
// the person sets a passphrase. Nobody else ever knows the passphrase. What a person may
// do comes from the staff record, read anew at each request, so that a retired record
// ends everything at once.
//
// A passphrase is hashed with Argon2id. The parameters stand in the hash, and a hash with
// older ones is renewed at the next sign-in that succeeds.
//
// # Guessing
//
// Tries are counted before anything is compared, for the account, for the address, and for
// the pair of them. Nothing is ever locked: counts drain with time. One address drains
// slower than an account does, so a stranger with one address cannot keep anybody out. For
// one with many addresses there is this: a browser from which a person has signed in before
// holds a token that says so, and its tries are counted apart from those of strangers.
//
// An unknown login is answered as a wrong passphrase is, after the same work.
//
// # Sessions
//
// A session is a random token in a cookie of the browser; the database holds its hash. It
// ends when it was not used for a while, at the latest some hours after the sign-in, when
// the person or an operator ends it, and when the passphrase changes. The token is a new
// one after each step of a sign-in. A session belongs to the epoch of the database: after
// a restore nobody is signed in.
//
// # Second factor
//
// Who has none yet sets up an authenticator (RFC 6238) or a passkey (WebAuthn) at the first
// sign-in, before anything else can be done. Each code is taken once; a passkey signs a
// challenge of one page in one session. Recovery codes stand in for either and never for the
// passphrase. A new one-time code of an operator sets the
// passphrase and leaves the second factor as it is, unless the operator removes it too.
//
// # Elsewhere
//
// People may sign in at an OpenID Connect provider ([Provider]): code flow with PKCE, state
// and nonce. What a sign-in was begun with is sealed in a cookie of the browser that began
// it. A claim of the provider names the login of an account; no account is ever made of it.
package people
