// Who this service is, and where its broker is: what the scripts beside this one begin with.
import * as oauth from 'oauth4webapi'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, CLIENT_KEY, PLATFORM_TOKEN, METHOD } = process.env

// The broker of the tests is on this machine, so it speaks plain http.
export const options = { [oauth.allowInsecureRequests]: true }

const issuer = new URL(ISSUER)
const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options })
export const server = await oauth.processDiscoveryResponse(issuer, found)
export const client = { client_id: CLIENT_ID }
export const authentication = await {
  client_secret_basic: () => oauth.ClientSecretBasic(CLIENT_SECRET),
  client_secret_post: () => oauth.ClientSecretPost(CLIENT_SECRET),
  private_key_jwt: signing,
  workload: () => vouchedFor,
  none: () => oauth.None(),
}[METHOD]()

async function signing() {
  const jwk = JSON.parse(CLIENT_KEY)
  const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: jwk.crv }, false, ['sign'])
  return oauth.PrivateKeyJwt({ key, kid: jwk.kid })
}

// What the platform signed is the proof (RFC 7523, section 2.2); there is nothing to sign here.
function vouchedFor(_server, client, body) {
  body.set('client_id', client.client_id)
  body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
  body.set('client_assertion', PLATFORM_TOKEN)
}
