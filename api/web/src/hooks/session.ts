// The user who is signed in.
import { notifications } from "@mantine/notifications";
import { useMutation } from "@tanstack/react-query";
import { createContext, useContext } from "react";
import { answer, api, ProblemError, type Schemas, setCSRFToken } from "../api/client";

export const MeContext = createContext<Schemas["Me"] | null>(null);

export function useMe(): Schemas["Me"] {
  const me = useContext(MeContext);
  if (!me) throw new Error("useMe needs a SessionGate around the page");
  return me;
}

/** Reads who is signed in, null if nobody is. */
export async function readMe(): Promise<Schemas["Me"] | null> {
  try {
    const me = await answer(api.GET("/api/v1/me"));
    setCSRFToken(me.session?.csrf_token ?? "");
    return me;
  } catch (error) {
    if (error instanceof ProblemError && error.status === 401) return null;
    throw error;
  }
}

/** Signs out, here or everywhere. A failure is shown, because the user may leave the computer. */
export function useSignOut() {
  const leave = () => window.location.assign("/"); // loading the page again forgets all data
  return useMutation({
    mutationFn: (everywhere: boolean) => (everywhere ? answer(api.DELETE("/api/v1/sessions")) : answer(api.DELETE("/api/v1/session"))),
    onSuccess: leave,
    onError: (error) => {
      if (error instanceof ProblemError && error.status === 401) leave();
      else notifications.show({ color: "red", title: "You are still signed in", message: error.message, autoClose: false });
    },
  });
}
