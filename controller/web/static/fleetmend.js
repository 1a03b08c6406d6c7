import { offerAccount } from "./account.js";
import { offerActs } from "./act.js";
import { offerDrills } from "./drill.js";
import { offerKeys } from "./keys.js";
import { keepFresh } from "./live.js";
import { offerSearch } from "./search.js";

offerAccount();
offerActs();
offerDrills();
offerKeys();
offerSearch();
keepFresh();

/* From here on a click does what it says. */
document.documentElement.dataset.ready = "";
