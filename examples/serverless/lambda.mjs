// AWS Lambda, behind a function URL or API Gateway. Set the function's handler to "lambda.handler".
import { lambdaHandler } from "nabla/serverless";
import web from "./handler.mjs";

export const handler = lambdaHandler(web);
