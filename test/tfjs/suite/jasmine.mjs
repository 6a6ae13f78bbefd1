// Jasmine's global functions, which TensorFlow.js's tests use, and a reporter that collects the results.
import jasmineRequire from "jasmine-core/lib/jasmine-core/jasmine.js";

const core = jasmineRequire.core(jasmineRequire);
const environment = core.getEnv({ suppressLoadErrors: true });
environment.configure({ random: false, verboseDeprecations: false });
Object.assign(globalThis, jasmineRequire.interface(core, environment), { jasmine: core });

/** The names of the passed and skipped specs, and the names and messages of the failed ones. */
const results = { passed: [], failed: [], skipped: [] };
const fail = (name, expectations) =>
  results.failed.push({ name, messages: expectations.map(({ message }) => message.slice(0, 300)) });

environment.addReporter({
  specDone({ status, fullName, failedExpectations }) {
    if (status === "passed") results.passed.push(fullName);
    else if (status === "failed") fail(fullName, failedExpectations);
    else results.skipped.push(fullName);
  },
  // Failures of beforeAll and afterAll.
  suiteDone({ fullName, failedExpectations }) {
    if (failedExpectations?.length) fail(fullName, failedExpectations);
  },
});

/** Runs the specs, or those whose names contain `filter`. */
export async function runSuite(filter) {
  if (filter) environment.configure({ specFilter: (spec) => spec.getFullName().includes(filter) });
  await environment.execute();
  return results;
}
