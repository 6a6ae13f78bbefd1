// AWS Lambda, behind a function URL or API Gateway: the function's handler is "lambda.handler".
import { lambdaHandler } from "nabla/serverless";
import web from "./handler.mjs";

export const handler = lambdaHandler(web);
