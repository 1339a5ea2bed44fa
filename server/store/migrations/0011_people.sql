-- +goose Up

-- Who may sign in with a browser: one account a person. login is folded. passphrase is a
-- PHC string, empty for none; code_hash that of a one-time code, NULL for none. totp is the
-- sealed secret of an authenticator, NULL for none, and totp_step the newest step of it that
-- was taken.
CREATE TABLE account (
  org          {{int}} NOT NULL,
  staff        {{bytes}} NOT NULL,
  login        {{text}} NOT NULL,
  passphrase   {{text}} NOT NULL,
  code_hash    {{bytes}},
  code_ends_ms {{int}} NOT NULL,
  disabled     {{int}} NOT NULL,
  totp         {{bytes}},
  totp_step    {{int}} NOT NULL,
  created_ms   {{int}} NOT NULL,
  changed_ms   {{int}} NOT NULL,
  PRIMARY KEY (org, staff)
) {{strict}};
CREATE UNIQUE INDEX account_login ON account (org, login);

-- Recovery codes that are still good. One that was used is gone.
CREATE TABLE account_recovery (
  org   {{int}} NOT NULL,
  staff {{bytes}} NOT NULL,
  hash  {{bytes}} NOT NULL,
  PRIMARY KEY (org, staff, hash)
) {{packed}};

-- Passkeys: what the library keeps of a credential, under the credential's id.
CREATE TABLE account_passkey (
  org        {{int}} NOT NULL,
  staff      {{bytes}} NOT NULL,
  id         {{bytes}} NOT NULL,
  label      {{text}} NOT NULL,
  credential {{bytes}} NOT NULL,
  created_ms {{int}} NOT NULL,
  used_ms    {{int}} NOT NULL,
  PRIMARY KEY (org, staff, id)
) {{strict}};

-- Sessions of browsers. hash is SHA-256 of the token, which is stored nowhere. complete is 0
-- while a second factor is outstanding. A session is one of the database's epoch: a database
-- that is set back has none.
CREATE TABLE session (
  org        {{int}} NOT NULL,
  id         {{bytes}} NOT NULL,
  hash       {{bytes}} NOT NULL,
  staff      {{bytes}} NOT NULL,
  epoch      {{bytes}} NOT NULL,
  way        {{text}} NOT NULL,
  complete   {{int}} NOT NULL,
  browser    {{text}} NOT NULL,
  created_ms {{int}} NOT NULL,
  seen_ms    {{int}} NOT NULL,
  ends_ms    {{int}} NOT NULL,
  PRIMARY KEY (org, id)
) {{strict}};
CREATE UNIQUE INDEX session_hash ON session (org, hash);
CREATE INDEX session_staff ON session (org, staff);

-- Tries to sign in, counted: when what was counted under a key will be forgotten. A key
-- is a keyed hash of what is counted, an account or an address.
CREATE TABLE signin_tries (
  org      {{int}} NOT NULL,
  key      {{bytes}} NOT NULL,
  empty_ms {{int}} NOT NULL,
  PRIMARY KEY (org, key)
) {{packed}};
