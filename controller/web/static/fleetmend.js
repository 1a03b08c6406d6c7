import { offerActs } from "./act.js";
import { offerKeys } from "./keys.js";
import { keepFresh } from "./live.js";
import { offerSearch } from "./search.js";

offerActs();
offerKeys();
offerSearch();
keepFresh();
