// Asks what a token is worth (RFC 7662), revokes it (RFC 7009), and asks again: TOKEN.
import * as oauth from 'oauth4webapi'
import { authentication, client, options, server } from './service.mjs'

const { TOKEN } = process.env

async function introspect() {
  const answer = await oauth.introspectionRequest(server, client, authentication, TOKEN, options)
  return oauth.processIntrospectionResponse(server, client, answer)
}

const before = await introspect()
await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, authentication, TOKEN, options))

console.log(JSON.stringify({ before, after: await introspect() }))
