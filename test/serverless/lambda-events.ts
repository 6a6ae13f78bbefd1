/** AWS Lambda events in the formats that AWS documents. */
import type { LambdaEvent } from "nabla/serverless";

interface Call {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly query?: Record<string, string>;
  readonly body?: string;
}

/** An event from a function URL or an HTTP API: payload version 2.0. */
export const functionUrlEvent = ({ method, path, headers, query = {}, body }: Call): LambdaEvent => ({
  version: "2.0",
  routeKey: "$default",
  rawPath: path,
  rawQueryString: new URLSearchParams(query).toString(),
  cookies: ["cookie1", "cookie2"],
  headers: { ...headers, host: "url-id.lambda-url.us-west-2.on.aws", "x-forwarded-proto": "https" },
  requestContext: {
    accountId: "123456789012",
    apiId: "url-id",
    domainName: "url-id.lambda-url.us-west-2.on.aws",
    domainPrefix: "url-id",
    http: { method, path, protocol: "HTTP/1.1", sourceIp: "123.123.123.123", userAgent: "agent" },
    requestId: "id",
    routeKey: "$default",
    stage: "$default",
    time: "12/Mar/2020:19:03:58 +0000",
    timeEpoch: 1583348638390,
  },
  ...(body !== undefined && { body }),
  pathParameters: null,
  isBase64Encoded: false,
  stageVariables: null,
});

/** An event from a REST API: payload version 1.0. */
export const restApiEvent = ({ method, path, headers, query, body }: Call): LambdaEvent => ({
  version: "1.0",
  resource: "/{proxy+}",
  path,
  httpMethod: method,
  headers: { ...headers, Host: "id.execute-api.us-east-1.amazonaws.com" },
  multiValueHeaders: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]])),
  queryStringParameters: query ?? null,
  multiValueQueryStringParameters: query ? Object.fromEntries(Object.entries(query).map(([k, v]) => [k, [v]])) : null,
  requestContext: {
    accountId: "123456789012",
    apiId: "id",
    authorizer: { claims: null, scopes: null },
    domainName: "id.execute-api.us-east-1.amazonaws.com",
    httpMethod: method,
    path: `/prod${path}`,
    protocol: "HTTP/1.1",
    requestId: "id=",
    resourcePath: "/{proxy+}",
    stage: "prod",
  },
  pathParameters: { proxy: path.slice(1) },
  stageVariables: null,
  body: body ?? null,
  isBase64Encoded: false,
});

/** An event from an application load balancer. */
export const albEvent = ({ method, path, headers, query = {}, body = "" }: Call): LambdaEvent => ({
  requestContext: {
    elb: { targetGroupArn: "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/t/1" },
  },
  httpMethod: method,
  path,
  queryStringParameters: query,
  headers: { ...headers, host: "lambda-alb-123578498.us-east-1.elb.amazonaws.com", "x-forwarded-proto": "https" },
  body,
  isBase64Encoded: false,
});
