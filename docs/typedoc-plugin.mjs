/**
 * Shapes the TypeDoc reference for readers: the entry `src/index.ts` is called `nabla`, and a class page lists the members that
 * the class declares, with a link to its base class for the rest.
 */
import { Converter, ReflectionKind } from "typedoc";

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.children ?? []) if (module.name === "index") module.name = "nabla";
  });
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    // Members of a base without a page of its own stay.
    for (const type of project.getReflectionsByKind(ReflectionKind.Class | ReflectionKind.Interface))
      for (const member of [...(type.children ?? [])])
        if (member.inheritedFrom?.reflection && member.kind !== ReflectionKind.Constructor)
          project.removeReflection(member);
  });
}
