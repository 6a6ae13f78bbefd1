// Jasmine's global functions, which the suite uses, and an environment that collects results.
import jasmineRequire from "jasmine-core/lib/jasmine-core/jasmine.js";

const jasmine = jasmineRequire.core(jasmineRequire);
const environment = jasmine.getEnv({ suppressLoadErrors: true });
environment.configure({ random: false, verboseDeprecations: false });
Object.assign(globalThis, jasmineRequire.interface(jasmine, environment));
globalThis.jasmine = jasmine;

/** The results: the names of specs that passed, failed (with messages) and were skipped. */
const results = { passed: [], failed: [], skipped: [] };
environment.addReporter({
  specDone({ status, fullName, failedExpectations }) {
    if (status === "passed") results.passed.push(fullName);
    else if (status === "failed")
      results.failed.push({ name: fullName, messages: failedExpectations.map(({ message }) => message) });
    else results.skipped.push(fullName);
  },
  suiteDone({ fullName, failedExpectations }) {
    for (const { message } of failedExpectations ?? []) results.failed.push({ name: fullName, messages: [message] });
  },
});

export async function runSuite(filter) {
  if (filter) environment.configure({ specFilter: (spec) => spec.getFullName().includes(filter) });
  await environment.execute();
  return results;
}
export { jasmine };
