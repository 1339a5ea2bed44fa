// A provider on loopback for the tests of the sign-in:
//
//   node provider.mjs REDIRECT_URI
//
// prints its issuer. Who signs in, and with how many factors, is what the form says; there
// is no password. It ends when its standard input does.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirect] = process.argv.slice(2);
const server = createServer();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'tandem',
    client_secret: 'a secret of the test',
    redirect_uris: [redirect],
    grant_types: ['authorization_code'],
    response_types: ['code'],
  }],
  pkce: { required: () => true },
  claims: { openid: ['sub', 'amr', 'login'], email: ['email', 'email_verified'] },
  features: { devInteractions: { enabled: false } },
  cookies: { keys: ['of the test'] },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 60, IdToken: 60, Interaction: 60, Session: 60 },
  // A person is named for what the provider says of it: unverified@… has an address that
  // nobody has checked.
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, login: id, email: id, email_verified: !id.startsWith('unverified') }),
  }),
});

async function interact(request, response) {
  const { prompt, params, session, uid } = await provider.interactionDetails(request, response);
  if (prompt.name === 'consent') {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope('openid email');
    await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
    return;
  }
  const asked = new URL(request.url, issuer).searchParams;
  if (asked.has('cancel')) {
    await provider.interactionFinished(request, response, { error: 'access_denied' });
    return;
  }
  if (!asked.has('who')) {
    response.setHeader('content-type', 'text/html');
    response.end(`<form action="/interaction/${uid}"><input name="who"><input name="mfa"></form>`);
    return;
  }
  const amr = asked.get('mfa') ? ['pwd', 'otp', 'mfa'] : ['pwd'];
  await provider.interactionFinished(request, response, { login: { accountId: asked.get('who'), amr } });
}

const callback = provider.callback();
server.on('request', (request, response) => {
  if (!request.url.startsWith('/interaction/')) {
    callback(request, response);
    return;
  }
  interact(request, response).catch((fault) => {
    response.statusCode = 500;
    response.end(String(fault));
  });
});

console.log(issuer);
process.stdin.on('end', () => process.exit(0)).resume();
