// The second test process of npm test.
import { load } from "./workers.mjs";

await load(1);
