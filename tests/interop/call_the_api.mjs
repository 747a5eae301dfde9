// Gets a broker token for one scope and fetches the access token of a connection with it: CONNECTION_ID.
import * as oauth from 'oauth4webapi'
import { authentication, client, options, server } from './service.mjs'

const { ISSUER, CONNECTION_ID } = process.env

const answer = await oauth.clientCredentialsGrantRequest(
  server, client, authentication, { scope: 'tokens:read' }, options)
const { access_token: brokerToken, scope } = await oauth.processClientCredentialsResponse(server, client, answer)

const headers = new Headers({ 'content-type': 'application/json' })
const url = new URL(`${ISSUER}/v1/connections/${CONNECTION_ID}/token`)
const fetched = await oauth.protectedResourceRequest(brokerToken, 'POST', url, headers, '{}', options)
const { access_token: accessToken } = await fetched.json()

console.log(JSON.stringify({ scope, brokerToken, accessToken }))
