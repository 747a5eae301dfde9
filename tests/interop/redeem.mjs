// Exchanges a reference for the access token that it leads to (RFC 8693): REFERENCE.
import * as oauth from 'oauth4webapi'
import { authentication, client, options, server } from './service.mjs'

const exchange = {
  subject_token: process.env.REFERENCE,
  subject_token_type: 'urn:broker:token-type:reference',
}
const answer = await oauth.genericTokenEndpointRequest(
  server, client, authentication, 'urn:ietf:params:oauth:grant-type:token-exchange', exchange, options)

console.log(JSON.stringify(await oauth.processGenericTokenEndpointResponse(server, client, answer)))
