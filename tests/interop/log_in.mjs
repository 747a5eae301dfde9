// Logs a machine in with a device code (RFC 8628): PROVIDER. Prints what it shows; then, when the person has agreed, what it
// holds, after a refresh (RFC 6749, section 6), an exchange (RFC 8693) of its own token, and a logout (RFC 7009).
import { setTimeout } from 'node:timers/promises'
import * as oauth from 'oauth4webapi'
import { authentication, client, options, server } from './service.mjs'

const { PROVIDER } = process.env

const parameters = { provider: PROVIDER, scope: 'tokens:read' }
const shown = await oauth.processDeviceAuthorizationResponse(server, client,
  await oauth.deviceAuthorizationRequest(server, client, authentication, parameters, options))
console.log(JSON.stringify(shown))

const states = []
async function collected() {
  for (let interval = shown.interval; ; await setTimeout(interval * 1000)) {
    const answer = await oauth.deviceCodeGrantRequest(server, client, authentication, shown.device_code, options)
    try {
      return await oauth.processDeviceCodeResponse(server, client, answer)
    } catch (error) {
      states.push(error.error)
      if (error.error === 'slow_down') interval += 5
      else if (error.error !== 'authorization_pending') throw error
    }
  }
}

const first = await collected()
const second = await oauth.processRefreshTokenResponse(server, client,
  await oauth.refreshTokenGrantRequest(server, client, authentication, first.refresh_token, options))
const exchange = {
  subject_token: second.access_token,
  subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
}
const exchanged = await oauth.processGenericTokenEndpointResponse(server, client,
  await oauth.genericTokenEndpointRequest(
    server, client, authentication, 'urn:ietf:params:oauth:grant-type:token-exchange', exchange, options))
// Before the logout: with it the broker takes the token back at the provider.
const opened = await fetch(process.env.API, { headers: { authorization: `Bearer ${exchanged.access_token}` } })
await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, authentication, second.refresh_token, options))
let after
try {
  await oauth.processRefreshTokenResponse(server, client,
    await oauth.refreshTokenGrantRequest(server, client, authentication, second.refresh_token, options))
} catch (error) {
  after = error.error
}

console.log(JSON.stringify({ states, first, second, opened: opened.status, after }))
