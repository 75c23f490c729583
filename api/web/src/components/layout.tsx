// The layout of a project's pages: header, navigation and account menu.
import { ActionIcon, AppShell, Badge, Burger, Group, Menu, NavLink, Select, Text, Tooltip, useMantineColorScheme } from "@mantine/core";
import { useDisclosure, useMediaQuery } from "@mantine/hooks";
import { IconApi, IconCertificate, IconChecklist, IconDownload, IconHistory, IconLogout, IconMoon, IconPlug, IconShieldLock, IconSun, IconUser, IconUserCog, IconUsers } from "@tabler/icons-react";
import { type ReactNode, Suspense } from "react";
import { Link, Outlet, useLocation, useNavigate } from "react-router";
import { usePendingApprovals } from "../hooks/approvals";
import { userName } from "../hooks/members";
import { useHasRole, useProject, useProjects } from "../hooks/project";
import { useMe, useSignOut } from "../hooks/session";
import { ErrorBoundary } from "./error-boundary";
import { Loading } from "./page-states";

export function Layout() {
  const [open, menu] = useDisclosure();
  const phone = useMediaQuery("(max-width: 48em)", false, { getInitialValueInEffect: false });
  const { pathname } = useLocation();
  return (
    <AppShell header={{ height: 56 }} navbar={{ width: 240, breakpoint: "sm", collapsed: { mobile: !open } }} padding="md">
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={open} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label="Navigation" aria-expanded={open} aria-controls="navigation" />
            <Text fw={700} visibleFrom="xs">
              Countersign
            </Text>
            <ProjectSwitcher />
          </Group>
          <Group gap="xs" wrap="nowrap">
            <ColorSchemeButton />
            <AccountMenu />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar id="navigation" p="xs" aria-label="Main" inert={phone && !open} style={{ overflowY: "auto" }}>
        <Navigation onVisit={menu.close} />
      </AppShell.Navbar>
      <AppShell.Main>
        <ErrorBoundary page={pathname}>
          <Suspense fallback={<Loading />}>
            <Outlet />
          </Suspense>
        </ErrorBoundary>
        <div id="popovers" />
      </AppShell.Main>
    </AppShell>
  );
}

function ProjectSwitcher() {
  const project = useProject();
  const navigate = useNavigate();
  const projects = useProjects().data ?? [project];
  return (
    <Select
      aria-label="Project"
      size="xs"
      w={{ base: 140, sm: 220 }}
      searchable={projects.length > 10}
      allowDeselect={false}
      value={project.id}
      data={projects.map((p) => ({ value: p.id, label: p.name }))}
      onChange={(id) => id && id !== project.id && void navigate(`/projects/${id}`)}
    />
  );
}

function Navigation({ onVisit }: { onVisit: () => void }) {
  const { pathname } = useLocation();
  const base = `/projects/${useProject().id}`;
  const systemAdmin = useMe().user.system_admin;
  const [operator, admin] = [useHasRole("operator"), useHasRole("admin")];
  const link = (to: string, label: string, icon: ReactNode, badge?: ReactNode) => {
    const active = pathname === `${base}/${to}` || pathname.startsWith(`${base}/${to}/`);
    return <NavLink component={Link} to={`${base}/${to}`} label={label} leftSection={icon} rightSection={badge} active={active} aria-current={active ? "page" : undefined} onClick={onVisit} />;
  };
  return (
    <>
      {link("certificates", "Certificates", <IconCertificate size={18} />)}
      {operator && link("requests", "Requests", <IconDownload size={18} />)}
      {operator && link("approvals", "Approvals", <IconChecklist size={18} />, <PendingCount />)}
      <GroupLabel>Settings</GroupLabel>
      {link("settings/policy", "Certificate Policy", <IconShieldLock size={18} />)}
      {link("members", "Members", <IconUsers size={18} />)}
      {admin && link("api-keys", "API keys", <IconApi size={18} />)}
      {admin && <GroupLabel>Records</GroupLabel>}
      {admin && link("audit", "Audit log", <IconHistory size={18} />)}
      {systemAdmin && <GroupLabel>System</GroupLabel>}
      {systemAdmin && link("users", "Users", <IconUserCog size={18} />)}
      {systemAdmin && link("system-keys", "System API keys", <IconApi size={18} />)}
      {systemAdmin && link("plugins", "Plugins", <IconPlug size={18} />)}
    </>
  );
}

function GroupLabel({ children }: { children: string }) {
  return (
    <Text size="xs" fw={550} c="dimmed" px="sm" mt="md" mb={4}>
      {children}
    </Text>
  );
}

/** The number of pending approvals; nothing if there are none. */
function PendingCount() {
  const { data } = usePendingApprovals();
  const count = data?.items?.length ?? 0;
  if (count === 0) return null;
  const shown = data?.next_cursor ? `${count}+` : String(count);
  return (
    <Badge size="sm" circle={shown.length === 1} aria-label={`${shown} waiting`}>
      {shown}
    </Badge>
  );
}

function ColorSchemeButton() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const dark = colorScheme === "dark" || (colorScheme === "auto" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  const label = dark ? "Use light colours" : "Use dark colours";
  return (
    <Tooltip label={label}>
      <ActionIcon variant="default" size="lg" aria-label={label} onClick={() => setColorScheme(dark ? "light" : "dark")}>
        {dark ? <IconSun size={18} /> : <IconMoon size={18} />}
      </ActionIcon>
    </Tooltip>
  );
}

function AccountMenu() {
  const { user } = useMe();
  const signOut = useSignOut();
  const { id: pid, role } = useProject();
  return (
    <Menu position="bottom-end" withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <ActionIcon variant="default" size="lg" aria-label={`Signed in as ${user.username}`}>
          <IconUser size={18} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item component={Link} to={`/projects/${pid}/account`} leftSection={<IconUser size={16} />}>
          Your account
          <Text size="xs">
            {userName(user)} ({role})
          </Text>
        </Menu.Item>
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => signOut.mutate(false)}>
          Sign out
        </Menu.Item>
        <Menu.Item onClick={() => signOut.mutate(true)}>Sign out everywhere</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
